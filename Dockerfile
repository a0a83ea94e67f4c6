# One small image for all of Squall: the suite, the exchange, the proxy, the adapter and the load.

FROM python:3.13-slim-trixie AS build
COPY . /src
RUN python -m venv /opt/squall \
    && /opt/squall/bin/pip install --no-cache-dir --disable-pip-version-check \
       --constraint /src/docker/constraints.txt '/src[load]' \
    && ln -s /opt/squall/lib/python3.*/site-packages/squall/load/locustfile.py /opt/squall/

FROM python:3.13-slim-trixie
COPY --from=build /opt/squall /opt/squall
ENV PATH=/opt/squall/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 squall \
    && install -d -o squall /home/squall/report
USER squall
WORKDIR /home/squall/report
ENTRYPOINT ["squall"]
CMD ["run"]
