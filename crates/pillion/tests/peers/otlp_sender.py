"""Sends the lines of a file as log records, by OpenTelemetry's own client.

otlp_sender.py {http|grpc} ENDPOINT {none|gzip} FILE
"""

import sys

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

transport, endpoint, compression, file = sys.argv[1:]

if transport == "grpc":
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    codings = {"none": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}
    exporter = OTLPLogExporter(endpoint, insecure=True, compression=codings[compression])
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    codings = {"none": Compression.NoCompression, "gzip": Compression.Gzip}
    exporter = OTLPLogExporter(f"http://{endpoint}/v1/logs", compression=codings[compression])

provider = LoggerProvider(Resource.create({"service.name": "sender"}))
provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
logger = provider.get_logger("lines")
with open(file, encoding="utf-8", newline="\n") as lines:
    for number, line in enumerate(lines):
        logger.emit(
            LogRecord(
                timestamp=1_700_000_000_000_000_000 + number,
                severity_number=SeverityNumber.WARN,
                severity_text="Warn",
                body=line.removesuffix("\n"),
                attributes={"number": number, "nested": {"list": [1, "two", 3.5, True]}},
            )
        )
if not provider.force_flush():
    sys.exit("not everything was delivered")
provider.shutdown()
