"""Lightning: the loss is an attribute of the module, and text among its hyperparameters."""

import torch
from lightning import LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from noiseproof import losses, noise

images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32)
train_x, test_x, clean, test_y = train_test_split(images, torch.tensor(labels), random_state=0)
train_set = TensorDataset(train_x, noise.corrupt(clean, noise.symmetric(10, 0.6), seed=0))


class Digits(LightningModule):
    """A small network and the loss that its text names."""

    def __init__(self, loss: str) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.loss_fn = losses.parse(loss)  # in place of nn.CrossEntropyLoss()
        self.net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self.loss_fn(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


for loss in ("ce", "nce+mae"):
    seed_everything(0, verbose=False)
    module, batches = Digits(loss), DataLoader(train_set, batch_size=128, shuffle=True)
    Trainer(accelerator="cpu", max_epochs=30, logger=False, enable_checkpointing=False).fit(module, batches)
    print(f"{loss:8} {(module.net(test_x).argmax(dim=1) == test_y).float().mean():.1%}")
