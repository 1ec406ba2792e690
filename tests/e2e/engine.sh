# For the scripts beside it: a podman of our own, with an image that has a shell and systemd.
# After `engine_start`, $socket is the engine's socket, $image the image, and `engine …` its
# command line. Everything ends with the script that reads this.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/rekindle"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"

for program in podman runc debootstrap; do
    if ! command -v "$program" >/dev/null; then
        printf '%s needs %s: apt-get install podman runc debootstrap\n' "$0" "$program" >&2
        exit 1
    fi
done
if [ "$(id -u)" != 0 ]; then
    printf '%s needs root: debootstrap and runc do\n' "$0" >&2
    exit 1
fi

work=$(mktemp -d)
socket="$work/engine.sock"
image=localhost/rekindle-test

# runc can't raise the limits that podman asks for where its parent's are lower.
export CONTAINERS_CONF="$work/containers.conf"
cat >"$CONTAINERS_CONF" <<'CONF'
[containers]
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
CONF

engine_line=(podman --root "$work/storage" --runroot "$work/run" --storage-driver vfs
    --runtime runc --cgroup-manager cgroupfs)
engine() {
    "${engine_line[@]}" "$@"
}

engine_end() {
    if [ -n "${service:-}" ]; then
        kill "$service" 2>/dev/null || true
        wait "$service" 2>/dev/null || true
    fi
    engine rm --all --force --time 0 >/dev/null 2>&1 || true
    # The storage of each container may still be mounted.
    engine umount --all >/dev/null 2>&1 || true
    rm -rf "$work"
}

# An image without a registry: a folder made by debootstrap, packed once.
engine_start() {
    local packed="$cache/debian-bookworm-systemd-1.tar"
    if ! [ -f "$packed" ]; then
        mkdir -p "$cache"
        debootstrap --variant=minbase --include=systemd,dbus bookworm "$work/debian" >&2
        rm -rf "$work"/debian/var/cache/apt "$work"/debian/usr/share/{doc,locale,man}
        tar -C "$work/debian" -cf "$packed.partial" .
        mv "$packed.partial" "$packed"
        rm -rf "$work/debian"
    fi
    trap engine_end EXIT
    engine import --quiet "$packed" "$image" >/dev/null
    # Not through the function: that would be a shell around it, and the shell would be what ends.
    "${engine_line[@]}" system service --time 0 "unix://$socket" >"$work/engine.log" 2>&1 &
    service=$!
    for _ in $(seq 100); do
        if [ -S "$socket" ]; then return; fi
        sleep 0.1
    done
    printf 'podman did not open %s\n' "$socket" >&2
    exit 1
}
