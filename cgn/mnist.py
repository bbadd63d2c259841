"""The numbers that every MNIST variant has in common. Nothing is imported here, so that light stages stay light."""

NUM_CLASSES = 10
DIGIT_PX = 28  # the side of MNIST's images
IMAGE_PX = 32  # the side of ours

# The training digits once more per environment, each with its own P(cue = label): those of the paper's IRM rows, and
# two in which few images contradict the shortcut.
ENVIRONMENTS = {
    "env_90": 0.9,
    "env_92_5": 0.925,
    "env_95": 0.95,
    "env_97_5": 0.975,
    "env_99": 0.99,
    "env_99_5": 0.995,
    "env_100": 1.0,
}
