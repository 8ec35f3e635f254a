"""Hugging Face's Trainer: the loss goes in as compute_loss_func. Four in ten training labels are wrong."""

import tempfile
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from noiseproof import losses, noise

images, labels = load_digits(return_X_y=True)
images = torch.tensor(images.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
train_x, test_x, clean, test_y = train_test_split(images, torch.tensor(labels), random_state=0)
train_y = noise.corrupt(clean, noise.symmetric(10, 0.4), seed=0)
train_set: Any = [{"pixel_values": x, "labels": y} for x, y in zip(train_x, train_y, strict=True)]


def test_accuracy(loss: str) -> float:
    """Train on the wrong labels, test on right ones."""
    loss_fn = losses.parse(loss, reduction="sum")

    def compute_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        return loss_fn(outputs.logits, labels) / (num_items_in_batch or len(labels))  # also if accumulated

    torch.manual_seed(0)
    config = ViTConfig(image_size=8, patch_size=8, num_channels=1, hidden_size=64, intermediate_size=128)
    config.num_hidden_layers, config.num_attention_heads, config.num_labels = 1, 4, 10
    net = ViTForImageClassification(config)
    with tempfile.TemporaryDirectory() as folder:
        recipe: Any = {"num_train_epochs": 15, "per_device_train_batch_size": 64, "learning_rate": 3e-3}
        options = TrainingArguments(folder, use_cpu=True, report_to="none", **recipe)
        Trainer(net, options, train_dataset=train_set, compute_loss_func=compute_loss).train()
    return (net(test_x).logits.argmax(dim=1) == test_y).float().mean().item()


for loss in ("ce", "nce+mae"):
    print(f"{loss:8} {test_accuracy(loss):.1%}")
