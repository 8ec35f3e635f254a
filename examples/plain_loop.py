"""A plain PyTorch loop: one line changed, on digits of which six in ten training labels are wrong."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from noiseproof import losses, noise

images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32)
train_x, test_x, clean, test_y = train_test_split(images, torch.tensor(labels), random_state=0)
train_y = noise.corrupt(clean, noise.symmetric(10, 0.6), seed=0)


def test_accuracy(loss_fn: nn.Module) -> float:
    """Train on the wrong labels, test on right ones."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    for _ in range(30):
        for batch in torch.randperm(len(train_x)).split(128):
            loss = loss_fn(net(train_x[batch]), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (net(test_x).argmax(dim=1) == test_y).float().mean().item()


print(f"ce       {test_accuracy(nn.CrossEntropyLoss()):.1%}")
print(f"nce+mae  {test_accuracy(losses.parse('nce+mae')):.1%}")  # the line that changed
