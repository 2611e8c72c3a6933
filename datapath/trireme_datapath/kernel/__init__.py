"""What the kernel is asked to do: rules, marks and namespaces."""
