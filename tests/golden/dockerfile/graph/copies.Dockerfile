FROM alpine AS src
FROM alpine
ENV DEST=/dest
COPY a b c*.txt $DEST/
COPY --parents ./x/./y/**/*.go /go/
COPY --exclude=*.md --exclude=!README.md docs /docs
COPY --chown=1000 --chmod=u=rwX,go=rX . /app
COPY --from=src /etc/passwd /etc/os-release /etc/
COPY --from=0 / /all
COPY [ "name with blank", "/to/" ]
