FROM alpine
ADD https://example.com/dist/tool-1.0.tgz?mirror=1 /opt/
ADD --unpack --checksum=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa https://example.com/dist/lib.tgz /opt/lib
ADD --keep-git-dir=true https://example.com/org/repo.git#v1.2:docs /docs
ADD git@example.com:org/other.git /other
ADD site.tar.xz /srv/
