"""The bus contract as documents: AsyncAPI and JSON Schemas, made from the models that read and write the bus."""
