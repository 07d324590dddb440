"""What must come about once a core is healed, and once the load is over. One file each; `catalogue` lists them."""
