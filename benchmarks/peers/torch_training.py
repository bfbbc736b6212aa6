"""The training as torch does it, from the choices of a file."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from benchmarks.agreement.choices import Choices
from benchmarks.peers import torch_resnet


class Training:
    """Plain torch: a net with given weights, `torch.optim.SGD`, and batches of a file.

    Args:
      choices: what random numbers decided.
      images: uint8 [N, H, W, C], the training images.
      labels: [N].
      depth: 6n + 2, of a residual net with option A.
      widths: of its stages.
      momentum: of the optimizer.
      weight_decay: of all parameters.
      dtype: of all arithmetic.
    """

    def __init__(
        self,
        choices: Choices,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        depth: int,
        widths: tuple[int, ...],
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype = torch.float32,
    ):
        self._choices, self._dtype = choices, dtype
        self._images, self._labels = torch.tensor(images), torch.tensor(labels).long()
        self._mean = torch.tensor(choices.mean)
        blocks = (depth - 2) // (2 * len(widths))
        block, channels = torch_resnet.BasicBlock, images.shape[-1]
        net = torch_resnet.ResNet(block, blocks, widths, channels=channels)
        given = torch_resnet.torch_tensors(_nested(choices.weights))
        own = net.state_dict()
        assert given.keys() == {name for name, _ in net.named_parameters()}
        net.load_state_dict(own | given)
        self.net = net.to(dtype)
        self._optimizer = torch.optim.SGD(
            self.net.parameters(), lr=1.0, momentum=momentum, weight_decay=weight_decay
        )

    def losses(self, num_steps: int) -> np.ndarray:
        """Trains; the loss of each batch before its step."""
        return np.asarray(list(self._steps(num_steps)))

    def _steps(self, num_steps: int) -> Iterator[float]:
        self.net.train()
        for step in range(num_steps):
            x, y = self._batch(step)
            loss = functional.cross_entropy(self.net(x), y)
            self._optimizer.zero_grad()
            loss.backward()
            for group in self._optimizer.param_groups:
                group["lr"] = float(self._choices.rates[step])
            self._optimizer.step()
            yield loss.item()

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.tensor(self._choices.order[step]).long()
        x = self._standardised(self._images[chosen])
        moved = []
        for image, (down, right), mirrored in zip(
            x,
            self._choices.shifts[step].tolist(),
            self._choices.mirrored[step],
            strict=True,
        ):
            # Negative padding cuts off.
            shifted = functional.pad(image, (-right, right, -down, down))
            moved.append(shifted.flip(-1) if mirrored else shifted)
        return torch.stack(moved).to(self._dtype), self._labels[chosen]

    def _standardised(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.float() / 255 - self._mean
        return pixels.permute(0, 3, 1, 2)

    @torch.no_grad()
    def error(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Error in percent, by running statistics."""
        self.net.eval()
        wrong = 0
        for start in range(0, len(images), 500):
            part = slice(start, start + 500)
            x = self._standardised(torch.tensor(images[part])).to(self._dtype)
            wrong += int((self.net(x).argmax(1).numpy() != labels[part]).sum())
        return 100 * wrong / len(images)


def _nested(flat: dict[str, np.ndarray]) -> dict:
    tree: dict = {}
    for path, value in flat.items():
        *folders, leaf = path.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[leaf] = value
    return tree
