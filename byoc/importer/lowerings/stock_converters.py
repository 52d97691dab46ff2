"""Which operators go through TVM's converters as they are."""

from byoc.importer.stock import stock

for _operator in ["Compress", "Unique", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"]:
    stock(_operator)
