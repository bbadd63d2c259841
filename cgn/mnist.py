"""The numbers that every MNIST variant has in common. Nothing is imported here, so that light stages stay light."""

NUM_CLASSES = 10
DIGIT_PX = 28  # the side of MNIST's images
IMAGE_PX = 32  # the side of ours
