FROM debian:12
ARG NAME=world
RUN <<EOF
set -e
apt-get update
EOF
RUN <<SCRIPT
#!/usr/bin/env python3
print("hello")
SCRIPT
RUN python3 <<A - <<B
1
A
2
B
COPY --chmod=0755 <<hello.sh <<-'raw.txt' /opt/
echo hello $NAME
hello.sh
	tabs go, $NAME stays
	raw.txt
