"""Many nodes on one machine: topology as data, namespaces, scenarios, report."""
