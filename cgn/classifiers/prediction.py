"""What a trained classifier says of images."""

import torch
from torch import Tensor

from cgn.composer import to_images
from cgn.config import Precision
from cgn.contracts import Pixels
from cgn.models.classifiers import Cnn


@torch.inference_mode()
def features(network: Cnn, pixels: Pixels, *, batch_size: int = 1000) -> Tensor:
    """What the network's last layer sees of images: (batch, 64), float32."""
    network.eval()
    parts = (to_images(part).contiguous(memory_format=torch.channels_last) for part in pixels.split(batch_size))
    return torch.cat([network.features(images) for images in parts])


@torch.inference_mode()
def predict(network: Cnn, pixels: Pixels, *, precision: Precision, batch_size: int = 1000) -> tuple[Tensor, Tensor]:
    """The predicted class, int64, and its probability, float32; both (batch,)."""
    network.eval()
    classes, confidences = [], []
    for part in pixels.split(batch_size):
        images = to_images(part).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(images)
        confidence, predicted = logits.float().softmax(1).max(1)
        classes.append(predicted)
        confidences.append(confidence)
    return torch.cat(classes), torch.cat(confidences)
