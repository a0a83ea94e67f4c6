FROM python:3.12-slim

COPY . /src
RUN pip install --no-cache-dir /src && rm -rf /src \
    && useradd --create-home squall \
    && install -d -o squall /home/squall/report

USER squall
WORKDIR /home/squall/report
ENTRYPOINT ["squall"]
CMD ["run"]
