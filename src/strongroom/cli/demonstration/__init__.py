"""What `strongroom demo` is made of; imported only when it runs."""
