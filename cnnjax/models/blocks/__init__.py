"""Blocks and stages that several families of networks share."""
