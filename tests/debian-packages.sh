#!/bin/sh
# Installs the Debian packages that the tests need: recordings of people, a sound server and
# PortAudio, network namespaces with packet loss, PostgreSQL, RabbitMQ, a browser. As root or with sudo that asks
# nothing; otherwise it says what to type and fails.
set -eu
needed="alsa-utils chromium espeak-ng iproute2 libasound2-plugins libportaudio2 nftables
    pocketsphinx-testdata postgresql pulseaudio pulseaudio-utils rabbitmq-server
    sox sqlite3"

if ! command -v dpkg-query >/dev/null; then
    echo "no Debian here: the tests need what these packages hold:" $needed >&2
    exit 1
fi
missing=""
for package in $needed; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null |
        grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "the tests need more of Debian; type this, then try again:" >&2
        echo "  sudo apt-get update && sudo apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root="sudo -n"
fi
echo "installing from Debian:$missing"
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes -qq --no-install-recommends $missing >/dev/null
