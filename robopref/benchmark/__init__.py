"""Tables of figures, made cell by cell: policies, rewards and transferred labels."""
