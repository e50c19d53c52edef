"""Other checkpoints -> this package's; this package's -> TorchScript and ONNX."""
