# The gateway in a container; docs/operating.md says how to run it, deploy/compose.yaml shows it.
#
#   docker build -t farthing .

FROM rust:1.95-bookworm AS build
WORKDIR /farthing
COPY . .
RUN cargo build --release --locked --bin farthing && \
    install -d -m 0750 -o 10001 -g 10001 /volume

# The same Debian, so that the binary meets the libc that it was linked with.
FROM debian:bookworm-slim
COPY --from=build /farthing/target/release/farthing /usr/local/bin/farthing
# Replace this file, or mount over it, to trust a private certificate authority.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY deploy/entrypoint.sh /usr/local/bin/farthing-entrypoint
COPY deploy/ready.sh /usr/local/bin/farthing-ready
RUN groupadd --gid 10001 farthing && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/farthing --shell /usr/sbin/nologin farthing
# Configuration, ledger and journal. Nothing else is written: the rest of the file system may be read-only.
COPY --from=build --chown=10001:10001 /volume /var/lib/farthing
VOLUME /var/lib/farthing
WORKDIR /var/lib/farthing
ENV FARTHING_CONFIG=/var/lib/farthing/farthing.yaml
USER 10001:10001
EXPOSE 4100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["farthing-ready"]
ENTRYPOINT ["farthing-entrypoint"]
CMD ["serve"]
