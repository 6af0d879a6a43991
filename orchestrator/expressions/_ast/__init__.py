"""The generated protobuf module for parsed expressions; `syntax.proto` beside it is the source."""
