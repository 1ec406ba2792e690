"""Real exporters over TLS, with tokens and with certificates: do those get in who should, and nobody else?

Per language: gRPC and HTTP over TLS with a token, HTTP and gRPC with a client's certificate; each also with what
should keep it out. What the exporter was told is taken must be in the span store, and of what was refused nothing.
Then the server's certificate and its tokens are changed under the running engine: exporters meet the new certificate,
and the new token gets in. Arguments: the binary, the cache folder, the languages.
"""

import pathlib
import ssl
import subprocess
import sys

from harness import DEADLINE, HERE, check_all, environment, get, senders, wait_for
from kills import SETTINGS, SPANS_PER_REQUEST, acknowledged, check_stored

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


def patience(language):
    """Five seconds: OpenTelemetry's specification says milliseconds, and Python's SDK takes seconds."""
    return {"OTEL_EXPORTER_OTLP_TIMEOUT": "5" if language == "python" else "5000"}


def with_token(token):
    return {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{token}"}


def with_certificate():
    return {
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(CERTIFICATES / "client.pem"),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(CERTIFICATES / "client.key"),
    }


def send(engine, sender, wire, variant, extra, requests=REQUESTS):
    """The spans of each trace that the exporter was told are taken."""
    record = engine.folder / f"acknowledged-{variant}"
    grpc, http = (f"localhost:{address.rsplit(':')[-1]}" for address in (engine.grpc, engine.http))
    told = environment(
        E2E_REQUESTS=f"{requests} 0 1", E2E_ACKNOWLEDGED=str(record), E2E_SECURE="1",
        OTEL_EXPORTER_OTLP_CERTIFICATE=str(CERTIFICATES / "authority.pem"), **extra,
    )
    # Python's HTTP client would take these for OpenTelemetry's.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        told.pop(name, None)
    # Who is refused may end with an error.
    command = [*sender, wire, "none", variant, grpc, http]
    subprocess.run(command, env=told, timeout=2 * DEADLINE, stderr=subprocess.DEVNULL)
    return acknowledged(record)


def check_secured(engine, sender, wire, good, bad):
    refused = send(engine, sender, wire, "refused", bad)
    assert not refused, f"{len(refused)} requests were taken that should have been refused"
    taken = send(engine, sender, wire, "welcome", good)
    spans = sum(map(len, taken.values()))
    assert spans == REQUESTS * SPANS_PER_REQUEST, f"{spans} spans of {REQUESTS} requests were taken"
    names = [one["name"] for one in get(engine.api, "/api/v1/view")["request_types"]]
    assert not any("refused" in name for name in names), names
    one_more = lambda engine: send(engine, sender, wire, "one-more", good, 1)
    return f"{check_stored(engine, 'welcome', taken, one_more)} spans taken and stored, none of who was refused"


def is_shown(address, name):
    """Whether the server at this address shows the certificate of that name."""
    host, port = address.rsplit(":", 1)
    shown = ssl.get_server_certificate((host, int(port)), timeout=5)
    return shown.strip() == (CERTIFICATES / f"{name}.pem").read_text().strip()


def check_changed(engine, sender, wire, patience):
    """New tokens, and another certificate, are read while it runs."""
    listeners = (engine.grpc, engine.http)
    assert all(is_shown(address, "client") for address in listeners), "it didn't begin with the other certificate"
    put_certificate(engine.folder, "server")
    wait_for("the new certificate", lambda: all(is_shown(address, "server") for address in listeners))
    first, second = ({**patience, **with_token(token)} for token in (TOKEN, NEXT_TOKEN))
    assert send(engine, sender, wire, "before", first), "the first token is refused"
    (engine.folder / "tokens").write_text(f"{NEXT_TOKEN}\n")
    wait_for("the new token to be taken", lambda: send(engine, sender, wire, "after", second))
    assert not send(engine, sender, wire, "late", first), "the old token is still taken"
    return "the new certificate is shown; the new token is taken, the old one is not"


def cases(languages, commands):
    token, guessed = with_token(TOKEN), with_token("guessed-by-somebody")
    kinds = [("token", token, guessed, TOKENS), ("certificate", with_certificate(), {}, MUTUAL)]
    for language in languages:
        sender, waits = commands[language], patience(language)
        for wire in ("grpc", "http/protobuf"):
            for kind, good, bad, settings in kinds:
                told = (sender, wire, {**good, **waits}, {**bad, **waits})
                yield f"{language} {wire} {kind}", check_secured, told, settings, "server"
        # What vouches for a client is no certificate that an exporter trusts here, but another one.
        yield f"{language} changed", check_changed, (sender, "grpc", waits), TOKENS, "client"


def put_certificate(folder, name):
    for kind in ("key", "pem"):
        (folder / f"server.{kind}").write_bytes((CERTIFICATES / f"{name}.{kind}").read_bytes())


def prepare(folder, certificate):
    (folder / "tokens").write_text(f"{TOKEN}\n")
    put_certificate(folder, certificate)


def main():
    binary, cache, *languages = sys.argv[1:]
    failed = 0
    for name, check, told, settings, certificate in cases(languages, senders(pathlib.Path(cache))):
        described = lambda engine, *told, name=name, check=check: f"{name}: {check(engine, *told)}"
        begin = lambda folder, certificate=certificate: prepare(folder, certificate)
        failed += check_all(binary, [(name, described, told)], settings, begin)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
