FROM alpine AS parent
ONBUILD ARG FLAVOUR=plain
ONBUILD COPY --from=assets / /assets
ONBUILD RUN make $FLAVOUR
RUN prepare

FROM busybox AS assets
RUN assemble

FROM parent AS child
RUN finish
