"""The machine's figures; those of the emulator are in device.h."""

ARRAY = 16  # filters that are multiplied at the same time; as many channels go in with every cycle
ACTIVATION_SRAM = 64 << 10
WEIGHT_SRAM = 128 << 10
ACCUMULATORS = 4096  # for each column of the array
CLOCK = 5e8  # Hz
DMA = 4e9  # bytes per second
CALL = 2e-5  # seconds until the device has taken a command stream
