#!/bin/sh
# Puts the image's file system together in a folder, without a container engine, on the Debian that the image is made of.
#
#   deploy/rootfs.sh BINARY FOLDER
#
# From the image: the binary, the scripts, the certificates, the user, the volume, and of Debian only the programs that
# the scripts call, each with its shared libraries. Without time zone files: the binary has its own. As root it
# is complete (owners and devices), so that `chroot` can run it; tests/container.sh does.
set -eu

binary=$1
root=$2
here=$(dirname "$0")

mkdir -p "$root/dev" "$root/etc" "$root/var/lib/farthing"

# Follows what the dynamic linker would load.
add_program() {
    install -D -m 0755 "$1" "$root$2"
    ldd "$1" | grep -o '/[^ )]*' | while read -r library; do
        [ -e "$root$library" ] || install -D -m 0755 "$library" "$root$library"
    done
}

add_program "$binary" /usr/local/bin/farthing
for program in sh bash base64 cat cut head mv rm sha256sum tr; do
    add_program "$(command -v "$program")" "/bin/$program"
done
install -D -m 0755 "$here/entrypoint.sh" "$root/usr/local/bin/farthing-entrypoint"
install -D -m 0755 "$here/ready.sh" "$root/usr/local/bin/farthing-ready"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi
echo 'farthing:x:10001:10001::/var/lib/farthing:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'farthing:x:10001:' >"$root/etc/group"

if [ "$(id -u)" -eq 0 ]; then
    chown 10001:10001 "$root/var/lib/farthing"
    chmod 0750 "$root/var/lib/farthing"
    mknod -m 0666 "$root/dev/null" c 1 3
    mknod -m 0444 "$root/dev/urandom" c 1 9
fi
