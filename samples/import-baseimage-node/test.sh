#!/bin/sh
# The functional test of a candidate for the company's node base image. It runs inside the candidate.
# Exit code 0: no known errors. 1: at least one error; all of them are printed. Needs a POSIX shell only.
set -u
errors=0

error() {
    echo "ERROR: $*"
    errors=$((errors + 1))
}

check_color() {
    case "$(echo "${BACKGROUND_COLOR:-}" | tr '[:lower:]' '[:upper:]')" in
        "") error "BACKGROUND_COLOR is not set" ;;
        RED) error "Invalid Color: ${BACKGROUND_COLOR}" ;;
    esac
}

check_node() {
    version=$(node --version 2>/dev/null) || version=none
    echo "node --version: ${version}"
    # The sandbox makes its base image from what the machine has. Where that is no Node 15 the image says so itself.
    if [ -n "${STAND_IN:-}" ]; then
        echo "WARNING: Node is not validated; this base image is a stand-in with ${STAND_IN}"
        return
    fi
    promised=${NODE_VERSION:-}
    promised=${promised%%[.-]*}
    major=${version#v}
    major=${major%%.*}
    if [ -z "${promised}" ]; then
        error "NODE_VERSION is not set"
    elif [ "${major}" != "${promised}" ]; then
        error "Invalid Node: NODE_VERSION promises ${promised}, node --version says ${version}"
    elif [ "$(node -p '6 * 7' 2>/dev/null)" != 42 ]; then
        error "Invalid Node: it does not run JavaScript"
    fi
}

echo "Validating Image"
echo "NODE_VERSION: ${NODE_VERSION:-(not set)}"
echo "BACKGROUND_COLOR: ${BACKGROUND_COLOR:-(not set)}"
check_color
check_node
if [ "${errors}" -gt 0 ]; then
    echo "Validation Failed - Errors: ${errors}"
    exit 1
fi
echo "Validation Complete - No Known Errors"
