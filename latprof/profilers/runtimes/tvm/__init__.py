"""Apache TVM: on this processor and over RPC."""
