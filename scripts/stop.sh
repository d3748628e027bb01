# How a script of this folder says what is wrong, and ends. Source it.

stop() {
    echo "marquee: $*" >&2
    exit 1
}
