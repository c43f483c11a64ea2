#!/bin/sh
# The functional test of a node base image. Exit code 0 lets it through the gate.

fail() {
    printf '\033[31mERROR: %s\033[0m\n' "$1"
    exit 1
}

echo "Validating image"
echo "NODE_VERSION: ${NODE_VERSION}"
echo "BACKGROUND_COLOR: ${BACKGROUND_COLOR}"

major="${NODE_VERSION%%-*}"
version="$(node --version)" || fail "node does not run"
case "${version}" in
    "v${major}."*) echo "node: ${version}" ;;
    *) fail "node says ${version}, the image says NODE_VERSION ${NODE_VERSION}" ;;
esac

case "$(echo "${BACKGROUND_COLOR}" | tr '[:lower:]' '[:upper:]')" in
    "") fail "BACKGROUND_COLOR is not set" ;;
    RED) fail "Invalid Color: ${BACKGROUND_COLOR}" ;;
esac

printf '\033[32mValidation complete: no known errors\033[0m\n'
