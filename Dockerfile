# "docker build ." compiles the server in a stage, so it needs nothing but Docker. make
# image and the tests build the stage prebuilt, from a server that they have compiled.

FROM scratch AS base
# A number, as the kubelet can't tell whether a name is root's (runAsNonRoot).
USER 65532:65532
EXPOSE 53 53/udp
ENTRYPOINT ["/coredns"]
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="headless" \
	org.opencontainers.image.description="CoreDNS that serves Kubernetes headless services from memory" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.source="https://github.com/headless-dns/headless" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION"

FROM base AS prebuilt
# image.sh writes root.tar, the only file of the build's context. The archive keeps the
# file capability that lets the server listen on port 53 without being root.
ADD root.tar /

# Go compiles for the other platforms on the build platform, without emulation.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
RUN apt-get -qq update && apt-get -qq install --no-install-recommends libcap2-bin
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Without VERSION and REVISION, make takes them from git.
ARG TARGETOS TARGETARCH VERSION REVISION
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH make build ${VERSION:+"version=$VERSION"} ${REVISION:+"revision=$REVISION"} && \
	plugin/root.sh coredns /image

FROM base
# BuildKit and buildah keep the file capability. Without it, the server can't listen on
# port 53.
COPY --from=build /image/ /
