#!/bin/bash
# The container's health check: exit status 0 if the gateway takes requests. Speaks HTTP by itself, so that the image
# needs no client.
#
#   farthing-ready [PORT]
set -u
exec 3<>"/dev/tcp/127.0.0.1/${1:-4100}" || exit 1
printf 'GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n' >&3
IFS= read -r -t 2 status <&3 && [[ $status == "HTTP/1.1 200 "* ]]
