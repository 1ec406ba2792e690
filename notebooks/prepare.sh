# For the scripts that open or execute the notebooks: Python's packages in a cache folder, and what the notebooks
# read, made from small recorded traces where the environment names nothing else.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/rekindle"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
python="$cache/notebooks-python-1"

if ! [ -f "$python/ready" ]; then
    rm -rf "$python"
    python3 -m venv "$python"
    "$python/bin/pip" install --quiet --requirement notebooks/requirements.txt
    touch "$python/ready"
fi

# A binary can be named, so that nobody waits for a build.
rekindle="${REKINDLE_BINARY:-$CARGO_TARGET_DIR/debug/rekindle}"
if ! [ -n "${REKINDLE_BINARY:-}" ]; then cargo build --quiet; fi

example="$cache/notebooks-example"
if [ -z "${REKINDLE_ANALYSIS:-}" ] || [ -z "${REKINDLE_RESULTS:-}" ]; then
    rm -rf "$example"
    "$python/bin/python" notebooks/example.py "$example"
fi
if [ -z "${REKINDLE_ANALYSIS:-}" ]; then
    export REKINDLE_ANALYSIS="$example/analysis.json" REKINDLE_DURATIONS="$example/durations.parquet"
    "$rekindle" analyze "$example/bad.json" --baseline "$example/good.json" --parquet "$REKINDLE_DURATIONS" \
        -o json >"$REKINDLE_ANALYSIS"
fi
if [ -z "${REKINDLE_RESULTS:-}" ]; then
    export REKINDLE_RESULTS="$example/results.json"
    "$rekindle" bench localization --data "${REKINDLE_DATASETS:-$example/sets}" --method all --calm -o json \
        >"$REKINDLE_RESULTS"
fi
