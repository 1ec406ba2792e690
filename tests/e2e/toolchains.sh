# For the scripts beside it: what the exporters' languages need, installed below $cache once.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/rekindle"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"

need() {
    for program in "$@"; do
        if ! command -v "$program" >/dev/null; then
            printf '%s needs %s: install it, or run `cargo test` alone\n' "$0" "$program" >&2
            exit 1
        fi
    done
}

# `installed FOLDER` says whether it is; a folder without its mark is one whose making was interrupted.
installed() {
    if [ -f "$1/ready" ]; then return 0; fi
    rm -rf "$1"
    mkdir -p "$1"
    return 1
}

python="$cache/e2e-python-1"
install_python() {
    need python3
    if installed "$python"; then return; fi
    python3 -m venv "$python"
    "$python/bin/pip" install --quiet --requirement tests/e2e/requirements.txt
    touch "$python/ready"
}

install_node() {
    need node npm
    local folder="$cache/e2e-node-1"
    if installed "$folder"; then return; fi
    cp tests/e2e/package.json "$folder/"
    (cd "$folder" && npm install --no-audit --no-fund --ignore-scripts --silent)
    touch "$folder/ready"
}

install_go() {
    need go
    mkdir -p "$cache/e2e-go-1"
    (cd tests/e2e/go && go build -o "$cache/e2e-go-1/send" .)
}

install_java() {
    need javac mvn
    local folder="$cache/e2e-java-1"
    if ! installed "$folder"; then
        (cd tests/e2e/java && mvn --quiet --batch-mode dependency:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$folder/lib")
        touch "$folder/ready"
    fi
    javac -d "$folder/classes" -cp "$folder/lib/*" tests/e2e/java/src/main/java/Send.java
}

install_rust() {
    need cargo
    (cd tests/e2e/rust && CARGO_TARGET_DIR="$cache/e2e-rust-1" cargo build --locked --quiet)
}

install_collector() {
    need go
    local folder="$cache/e2e-collector-0.155.0"
    if installed "$folder"; then return; fi
    GOBIN="$folder" go install go.opentelemetry.io/collector/cmd/builder@v0.155.0
    cp tests/e2e/collector/builder.yaml "$folder/"
    (cd "$folder" && ./builder --config builder.yaml >&2)
    mv "$folder/build/collector" "$folder/"
    rm -rf "$folder/build" "$folder/builder"
    touch "$folder/ready"
}
