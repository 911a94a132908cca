"""What answers invocations: endpoints, their instances, and the models that those hold."""
