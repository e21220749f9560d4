FROM alpine
COPY --link a /a
ADD --link b.tar /b/
COPY --link --chmod=644 c /c
COPY --link --from=busybox /bin/busybox /bin/bb
RUN ls
