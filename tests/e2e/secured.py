"""Real exporters over TLS, with tokens and with certificates: do those get in who should, and nobody else?

Per language: gRPC and HTTP over TLS with a token, HTTP and gRPC with a client's certificate; each also with what
should keep it out. What the exporter was told is taken must be in the span store, and of what was refused nothing.
Then the server's certificate and its tokens are changed under the running engine, and an exporter with the new token
gets in. Arguments: the binary, the cache folder, the languages.
"""

import pathlib
import subprocess
import sys

from harness import DEADLINE, HERE, check_all, environment, get, senders, wait_for
from kills import SETTINGS, acknowledged, check_stored

CERTIFICATES = HERE.parent.parent / "ingest/src/receive/tests/certificates"
TOKEN, NEXT_TOKEN = "a-token-of-the-shop", "the-token-after-it"
REQUESTS = 20

TOKENS = SETTINGS + (
    "ingest: { access: { tokens: FOLDER/tokens, "
    "tls: { certificate: FOLDER/server.pem, key: FOLDER/server.key } } }\n"
)
MUTUAL = SETTINGS + (
    "ingest: { access: { tls: { certificate: FOLDER/server.pem, key: FOLDER/server.key, "
    f"client_ca: '{CERTIFICATES}/authority.pem' }} }} }}\n"
)


def with_token(token):
    return {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{token}"}


def with_certificate():
    return {
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(CERTIFICATES / "client.pem"),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(CERTIFICATES / "client.key"),
    }


def send(engine, sender, wire, variant, extra):
    """The spans of each trace that the exporter was told are taken."""
    record = engine.folder / f"acknowledged-{variant}"
    command = [*sender, wire, "none", variant, f"localhost:{engine.grpc.rsplit(':')[-1]}", f"localhost:{engine.http.rsplit(':')[-1]}"]
    told = environment(
        E2E_REQUESTS=f"{REQUESTS} 0 1", E2E_ACKNOWLEDGED=str(record), E2E_SECURE="1",
        OTEL_EXPORTER_OTLP_CERTIFICATE=str(CERTIFICATES / "authority.pem"), OTEL_EXPORTER_OTLP_TIMEOUT="5", **extra,
    )
    # Who is refused may end with an error.
    subprocess.run(command, env=told, timeout=2 * DEADLINE, stderr=subprocess.DEVNULL)
    return acknowledged(record)


def check_secured(engine, sender, wire, good, bad):
    refused = send(engine, sender, wire, "refused", bad)
    assert not refused, f"{len(refused)} requests were taken that should have been refused"
    taken = send(engine, sender, wire, "welcome", good)
    assert len(taken) == REQUESTS, f"{len(taken)} of {REQUESTS} requests were taken"
    names = [one["name"] for one in get(engine.api, "/api/v1/view")["request_types"]]
    assert not any("refused" in name for name in names), names
    return f"{check_stored(engine, 'welcome', taken)} spans taken and stored, none of who was refused"


def check_changed(engine, sender, wire):
    """New tokens, and a certificate that is written anew, are read while it runs."""
    assert send(engine, sender, wire, "before", with_token(TOKEN)), "the first token is refused"
    (engine.folder / "tokens").write_text(f"{NEXT_TOKEN}\n")
    (engine.folder / "server.pem").write_bytes((CERTIFICATES / "server.pem").read_bytes() + b"\n")
    wait_for("the new token to be taken", lambda: send(engine, sender, wire, "after", with_token(NEXT_TOKEN)))
    assert not send(engine, sender, wire, "late", with_token(TOKEN)), "the old token is still taken"
    return "the new token is taken, the old one is not"


def cases(languages, commands):
    for language in languages:
        for wire in ("grpc", "http/protobuf"):
            told = (commands[language], wire)
            yield f"{language} {wire} token", check_secured, (*told, with_token(TOKEN), with_token("guessed-by-somebody")), TOKENS
            yield f"{language} {wire} certificate", check_secured, (*told, with_certificate(), {}), MUTUAL
        yield f"{language} changed", check_changed, (commands[language], "grpc"), TOKENS


def prepare(folder):
    (folder / "tokens").write_text(f"{TOKEN}\n")
    for name in ("server.pem", "server.key"):
        (folder / name).write_bytes((CERTIFICATES / name).read_bytes())


def main():
    binary, cache, *languages = sys.argv[1:]
    failed = 0
    for name, check, told, settings in cases(languages, senders(pathlib.Path(cache))):
        described = lambda engine, *told, name=name, check=check: f"{name}: {check(engine, *told)}"
        failed += check_all(binary, [(name, described, told)], settings, prepare)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
