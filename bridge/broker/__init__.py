"""The wall to RabbitMQ, and the only room that imports aio-pika."""
