# escape=`
ARG BASE=alpine
ARG TAG=3
ARG REF=${BASE}:${TAG#v}
FROM ${REF} AS one
ARG TAG
ARG LOCAL=${TAG}-local
ENV SHOWN=$LOCAL TAG=from-env
RUN echo `
    $TAG $LOCAL
FROM one
ARG MORE=$LOCAL
RUN echo $MORE
WORKDIR /w/${MORE%-local}
