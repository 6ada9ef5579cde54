"""TFLite files: a float writer, an INT8 writer, and a runner for both."""
