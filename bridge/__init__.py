"""Joins aeternity state channels to RabbitMQ: commands in, sign requests and events out."""

__version__ = "0.1.0"
