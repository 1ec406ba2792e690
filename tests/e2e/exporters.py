"""Exporters that nobody here wrote against the real binary.

For each language, wire form and compression: the exporter's traces appear, an incident opens for the
shop's checkout, and the failing service is ranked first. Arguments: the binary, the cache folder that
the SDKs are installed in, the languages.
"""

import pathlib
import subprocess
import sys

from harness import DEADLINE, check_all, get, senders, wait_for

VARIANTS = {
    "python": (["grpc", "http/protobuf"], ["none", "gzip"]),
    "node": (["grpc", "http/protobuf", "http/json"], ["none", "gzip"]),
    "go": (["grpc", "http/protobuf"], ["none", "gzip"]),
    "java": (["grpc", "http/protobuf"], ["none", "gzip"]),
    "rust": (["grpc", "http/protobuf", "http/json"], ["none", "gzip", "zstd"]),
}


def incident_of(api, variant):
    """The variant's incident, once it has a ranking with somebody in it."""
    for incident in get(api, "/api/v1/view")["incidents"]:
        ranking = incident.get("ranking") or {}
        ours = any(name.startswith(f"shop-{variant} ") for name in incident["request_types"])
        if ours and ranking.get("suspects"):
            return incident
    return None


def requests_of(api, variant):
    """Good and failed requests of the variant's shop, each counted exactly once."""
    ok = bad = 0
    for request_type in get(api, "/api/v1/view")["request_types"]:
        if request_type["name"].startswith(f"shop-{variant} "):
            ok += sum(point["ok"] for point in request_type["series"])
            bad += sum(point["bad"] for point in request_type["series"])
    return ok, bad


def example_of(api, variant):
    """The spans of a failed example. Examples change while a ranking does, so all is asked anew."""
    incident = incident_of(api, variant)
    first = incident["ranking"]["suspects"][0] if incident else None
    if not first or not first["examples_failed"]:
        return None
    return get(api, f"/api/v1/traces/{first['examples_failed'][0]}")["spans"]


def check_variant(engine, sender, language, wire, compression):
    variant = f"{language}-{wire.replace('/', '-')}-{compression}"
    command = [*sender, wire, compression, variant, engine.grpc, engine.http]
    subprocess.run(command, check=True, timeout=DEADLINE)
    api = engine.api
    wait_for(f"all requests of {variant}", lambda: requests_of(api, variant) == (60, 30))
    incident = wait_for(f"incident of {variant}", lambda: incident_of(api, variant))
    first = incident["ranking"]["suspects"][0]
    services = {component["service"] for component in first["components"]}
    assert services == {f"payments-{variant}"}, f"{variant}: {first} is ranked first"
    spans = wait_for(f"example of {variant}", lambda: example_of(api, variant))
    assert len(spans) == 5, f"{variant}: {len(spans)} spans of a trace of 5"
    raised = {span["service"] for span in spans if span["raised"]}
    assert raised == {f"payments-{variant}"}, f"{variant}: raised by {raised}"
    return variant


def variants(languages, commands):
    """Each variant of these languages: its name, and the sender with its language, wire form and compression."""
    for language in languages:
        wires, compressions = VARIANTS[language]
        for wire in wires:
            for compression in compressions:
                yield f"{language} {wire} {compression}", (commands[language], language, wire, compression)


def main():
    binary, cache, *languages = sys.argv[1:]
    commands = senders(pathlib.Path(cache))
    return check_all(binary, ((name, check_variant, told) for name, told in variants(languages, commands)))


if __name__ == "__main__":
    sys.exit(main())
