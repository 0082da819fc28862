# What docker build . makes is built within, and needs nothing but Docker. make image
# and the tests make the stage prebuilt, of a server that they have built.

FROM scratch AS base
# By number, so that the kubelet can tell that it is not root.
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
# image.sh puts all into root.tar, the whole of the build's context. An archive keeps
# the file capability by which the server, without being root, may listen on port 53.
ADD root.tar /

# Go compiles for the other platforms on the one that builds: nothing is emulated.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
RUN apt-get -qq update && apt-get -qq install --no-install-recommends libcap2-bin
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Without VERSION and REVISION, git tells them.
ARG TARGETOS TARGETARCH VERSION REVISION
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH make build ${VERSION:+"version=$VERSION"} ${REVISION:+"revision=$REVISION"} && \
	plugin/root.sh coredns /image

FROM base
# BuildKit and buildah keep the file capability. A builder that loses it makes a server
# that can't listen on port 53.
COPY --from=build /image/ /
