# The multi-model container. Build it with `make image`; SageMaker runs it as `docker run IMAGE serve`.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        binutils gcc libc6-dev python3-dev python3-venv
RUN python3 -m venv /opt/mme
COPY .ci/lock/image.txt /src/.ci/lock/
RUN /opt/mme/bin/pip install --no-cache-dir --require-hashes -r /src/.ci/lock/image.txt
COPY pyproject.toml README.md LICENSE /src/
COPY container /src/container
COPY handler /src/handler
COPY mme /src/mme
RUN /opt/mme/bin/pip install --no-cache-dir --no-deps /src
COPY .ci/slim /src/.ci/
RUN /src/.ci/slim /opt/mme

FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt \
       /usr/share/doc /usr/share/man /usr/share/locale
COPY --from=build /opt/mme /opt/mme
ENV PATH=/opt/mme/bin:$PATH
RUN python -m container.aot
LABEL com.amazonaws.sagemaker.capabilities.multi-models=true \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
# A training job of a platform that lets root alone write to /opt/ml: --build-arg RUN_AS=0:0
ARG RUN_AS=65534:65534
USER ${RUN_AS}
EXPOSE 8080
ENTRYPOINT ["mme"]
CMD ["serve"]
