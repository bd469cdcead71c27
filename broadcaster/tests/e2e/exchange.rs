//! The model `rabbitmq` end to end: a broadcaster, a real broker, receivers and edges.
