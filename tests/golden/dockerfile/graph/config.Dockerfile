FROM debian:12
MAINTAINER Some One <one@example.com>
LABEL org.example.a="1" org.example.b="two words"
ENV A=1 B="x y"
ENV A=2
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN echo $A
USER app:app
WORKDIR data
VOLUME ["/data", "/cache"]
EXPOSE 8080 443/tcp 9000-9002/udp
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=1500ms --start-period=1m CMD curl -f http://localhost/
ONBUILD COPY . /src
ONBUILD RUN make -C /src
ENTRYPOINT ["/usr/bin/app"]
CMD serve --port 8080
