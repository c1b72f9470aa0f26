"""Pure decisions: values in, values out; no clock, no input or output, no imports of other parts of the operator."""
