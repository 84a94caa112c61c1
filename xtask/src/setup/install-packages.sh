# Installs the Debian packages that are its arguments. Services that they bring (nginx,
# PostgreSQL, rsyslog …) are not started: the tests start their own, on ports of their own.
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
apt-get update -qq < /dev/null
apt-get install -qq -y --no-install-recommends "$@" < /dev/null > /dev/null
