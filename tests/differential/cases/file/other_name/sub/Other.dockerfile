FROM scratch
COPY sub /s/
LABEL which=other
